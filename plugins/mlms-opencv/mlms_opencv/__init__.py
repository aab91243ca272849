"""OpenCV's DNN module as a framework of mlms: Caffe and ONNX models."""
