"""Where frames come from: images, videos and live sources."""
