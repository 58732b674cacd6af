"""What all pages share between Gradio and the network: document, theme, login, templates."""
