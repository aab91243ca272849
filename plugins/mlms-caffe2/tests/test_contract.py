"""mlms's contract of a framework, in the environment that the framework asset says."""

from mlms.testing import FrameworkContract


class TestContract(FrameworkContract):
    framework = "caffe2"
    model = "digits-cnn-caffe2"
