"""The bundled shop: definitions, and the SQL that makes its rows; data, no code."""
