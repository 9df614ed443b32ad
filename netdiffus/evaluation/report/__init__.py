"""The result as figures, words, plots and one page."""
