"""The commands, by what they take: specs, runs, or neither. `send` holds those that can spend money."""
