"""The event structs, by what they are about; `events.types` is where they are imported from."""
