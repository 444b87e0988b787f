"""JupyterHub's configuration by topic; jupyterhub_config.py puts the topics together."""
