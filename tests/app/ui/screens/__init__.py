"""Pictures of every screen and state of the studio, to be looked at: `python -m tests.app.ui.screens`."""
