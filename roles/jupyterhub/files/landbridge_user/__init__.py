"""What Landbridge adds to users' servers; jupyter_server_config.py puts it in place."""
