"""How a frozen network is computed: device, number type, engine."""
