"""Cross-lingual model editing with multilingual patch neurons: the method, without sweeps."""
