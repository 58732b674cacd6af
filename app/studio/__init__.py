"""What people do in the studio, without a browser: no Gradio and no HTML."""
