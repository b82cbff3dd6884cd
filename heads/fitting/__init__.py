"""How heads are computed: many at once, whatever their family."""
