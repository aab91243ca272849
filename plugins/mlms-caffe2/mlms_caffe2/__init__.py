"""Caffe2 as a framework of mlms."""
