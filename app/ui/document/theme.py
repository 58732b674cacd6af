"""The Gradio theme, whose variables are the tokens of `document/tokens.css`."""

from __future__ import annotations

import gradio as gr

TOKENS = {
    "wall": "body_background_fill",
    "panel": "background_fill_primary block_label_background_fill input_background_fill "
    "button_secondary_background_fill checkbox_background_color checkbox_label_background_fill",
    "inset": "background_fill_secondary button_secondary_background_fill_hover",
    "ink": "body_text_color block_title_text_color block_label_text_color accordion_text_color "
    "button_secondary_text_color checkbox_label_text_color",
    "ink-3": "body_text_color_subdued block_info_text_color input_placeholder_color",
    "line": "border_color_primary",
    "edge": "input_border_color button_secondary_border_color checkbox_border_color checkbox_label_border_color",
    "glaze": "button_primary_background_fill button_primary_border_color link_text_color input_border_color_focus "
    "slider_color checkbox_background_color_selected loader_color color_accent",
    "glaze-deep": "button_primary_background_fill_hover link_text_color_hover",
    "glaze-soft": "checkbox_label_background_fill_selected color_accent_soft",
    "on-glaze": "button_primary_text_color",
    "madder": "error_text_color error_border_color",
    "madder-soft": "error_background_fill",
}
SIZES = {
    "block_shadow": "none",
    "block_border_width": "0px",
    "block_padding": "0px",
    "input_border_width": "1.5px",
    "input_text_size": "16px",
    "button_border_width": "1.5px",
    "button_large_text_size": "16px",
    "button_large_text_weight": "700",
    "button_large_radius": "10px",
    "block_title_text_weight": "700",
    "block_title_text_size": "15px",
    "block_info_text_size": "14px",
    "layout_gap": "18px",
}


class Velatura(gr.themes.Base):
    """The palette of Gradio's widgets; dark mode changes the tokens, not the theme."""

    def __init__(self) -> None:
        super().__init__(
            radius_size=gr.themes.sizes.radius_lg,
            text_size=gr.themes.sizes.text_md,
            font=("IBM Plex Sans", "system-ui", "sans-serif"),
            font_mono=("ui-monospace", "monospace"),
        )
        pairs = {name: f"var(--{token})" for token, names in TOKENS.items() for name in names.split()}
        pairs["block_background_fill"] = "transparent"
        dark = {f"{name}_dark": value for name, value in pairs.items() if name != "color_accent"}
        super().set(**pairs, **dark, **SIZES)
