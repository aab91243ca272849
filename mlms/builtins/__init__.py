"""The components that ship with mlms, offered through the same hooks as anyone's."""
