"""The bundled project: real data, definitions as TOML and as SQL."""
