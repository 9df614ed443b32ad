"""A trained model: its parts, its folder, and the checks of folders."""
