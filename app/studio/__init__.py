"""The studio's services, without a browser: no Gradio and no HTML."""
