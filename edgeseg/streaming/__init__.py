"""Reading frames from cameras, videos and folders, and writing or showing the masks found in them."""
