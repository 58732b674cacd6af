"""The HTML document of the pages: theme, icons, assets and the template environment."""
