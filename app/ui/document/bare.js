// On a document without Gradio, which gives a part's scripts its element, they look everywhere.
const element = document;
