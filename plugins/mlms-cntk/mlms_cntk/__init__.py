"""CNTK as a framework of mlms."""
