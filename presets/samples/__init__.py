"""Small sets of captioned images to learn a style from: the demo's material and a benchmark with a known answer."""
