"""Frames in, results out: from a camera, video or folder to masks, files, a window and a page."""
