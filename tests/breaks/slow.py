"""Breaks that only tests with a browser, a process or a training find: those that `make check` leaves out."""

from __future__ import annotations

from tests.breaks.breaks import Break

SLOW: tuple[Break, ...] = (
    Break(
        "lost-node",
        "app/jobs/cluster/remote_job.py",
        "        except RayError as error:\n            raise self._lost() from error\n\n    def _make_actor",
        "        except RayError as error:\n            raise VelaturaError(FAILED) from error\n\n    def _make_actor",
        "a run whose node loses its power fails instead of going on elsewhere",
        ("tests/app/jobs/cluster/test_remote_job.py::test_an_error_of_ray_is_a_lost_node",),
    ),
    Break(
        "lost-avoided",
        "app/jobs/cluster/cluster.py",
        "if code == LOST_NODE and",
        "if code < 0 and",
        "a run whose node has lost its power is sent to it again and again",
        ("tests/app/jobs/cluster/test_remote_job.py::test_a_node_that_lost_a_job_gets_no_other_for_a_while",),
    ),
    Break(
        "node-asked",
        "app/jobs/cluster/node_job.py",
        "        self._run.ask_to_stop(how)",
        "        Run(self._place).ask_to_stop(how)",
        "a run on a node goes on after somebody has stopped or paused it",
        ("tests/app/jobs/cluster/test_node_job.py::test_a_stop_request_is_put_where_the_job_looks_for_it",),
    ),
    Break(
        "node-left",
        "app/jobs/cluster/node_job.py",
        "            shutil.rmtree(self._place, ignore_errors=True)\n            self._contents.tidy()",
        "            self._contents.tidy()",
        "every job leaves a copy of its pictures and checkpoints on its node",
        (
            "tests/app/jobs/cluster/test_node_job.py"
            "::test_a_small_job_is_done_there_with_a_large_file_of_the_storage_and_its_error_comes_back",
        ),
    ),
    Break(
        "library-bars",
        "trainers/models/quiet.py",
        "            library.disable_progress_bar()",
        "            library.enable_progress_bar()",
        "a training's lines are torn apart by the libraries' progress bars",
        ("tests/app/cli/test_train.py::test_progress_goes_to_standard_error",),
    ),
    Break(
        "cloned-once",
        "app/ui/train/steps.js",
        "asked.delete('clone');",
        "",
        "a reload after a run was cloned throws away what was changed since",
        ("tests/attacks/test_stored.py::test_words_stay_words_on_every_page",),
    ),
    Break(
        "first-style",
        "app/ui/playground/form.html",
        '<a class="go" href="./">{{ shared.FIRST_STYLE }}</a>',
        '<a class="go" href="./">{{ shared.WATCH_IT }}</a>',
        "somebody without a style is sent to watch a run that there is not",
        ("tests/app/ui/test_browser.py::test_nothing_reaches_beyond_the_right_edge",),
    ),
    Break(
        "kept-step",
        "app/ui/playground/page.py",
        "star_in(view, step)",
        "star_in(view, None)",
        "the step that is kept of a comparison is not what its run gives",
        ("tests/app/ui/playground/test_page.py::test_a_compared_step_that_is_kept_becomes_what_its_run_gives",),
    ),
    Break(
        "earlier-settings",
        "app/ui/playground/page.py",
        'Show(fresh=("all",)))}\n\n    def _keep(',
        "Show())}\n\n    def _keep(",
        "the settings of an earlier picture are put back nowhere where they can be seen",
        ("tests/app/ui/playground/test_page.py::test_settings_of_an_earlier_picture_are_put_back_and_kept",),
    ),
    Break(
        "style-is-back",
        "app/ui/playground/form.js",
        "if (element.querySelector('.style-row.off')) send('keep');",
        "if (element.querySelector('.style-row.off') && flying) send('keep');",
        "a style that was deleted and restored cannot be drawn with until the page is loaded again",
        ("tests/app/ui/test_playground_page.py::test_the_address_names_the_style_and_a_foreign_one_asks_for_its_base",),
    ),
    Break(
        "kept-page",
        "app/ui/components/shell.js",
        "if (event.persisted) location.reload();",
        "if (event.persisted && !user) location.reload();",
        "after logging out the browser's back button shows the next person the pages of the one before",
        ("tests/app/ui/test_served.py::test_two_people_log_in_and_out",),
    ),
    Break(
        "line-by-keys",
        "app/ui/runs/reorder.js",
        "what = {ArrowUp: 'up', ArrowDown: 'down'}[event.key];",
        "what = {PageUp: 'up', PageDown: 'down'}[event.key];",
        "who cannot drag cannot put the runs that wait in another order",
        ("tests/app/ui/test_runs_page.py::test_a_beginner_comes_from_an_empty_list_to_a_downloaded_style",),
    ),
    Break(
        "other-run",
        "app/ui/runs/sheet.js",
        "before = other || (left",
        "before = (left",
        "a picture is compared with another run's, and there is none on the left",
        ("tests/app/ui/test_runs_page.py::test_a_run_is_travelled_through_and_a_step_of_it_is_chosen",),
    ),
    Break(
        "restart-asks",
        "app/ui/runs/dialogs.html",
        "{% for do in restarts %}",
        "{% for do in restarts[1:] %}",
        "a restart from zero neither asks nor begins",
        ("tests/app/ui/test_trash_page.py::test_cancelling_asks_first_and_leaves_a_way_on",),
    ),
)
