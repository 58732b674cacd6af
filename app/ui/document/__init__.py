"""What every page of the studio begins with: document, theme, icons, assets, template environment."""
