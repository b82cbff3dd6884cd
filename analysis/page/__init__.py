"""Records -> the page: tables, pictures, words."""
