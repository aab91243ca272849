import pytest

from mlms.errors import InputError
from mlms.manifests.reader import parse_document
from mlms.manifests.schema import check
from mlms.manifests.templates import starter


@pytest.mark.parametrize("kind", ["manifest", "model", "framework", "dataset"])
@pytest.mark.parametrize("name", ["my-net", "8", "true", "1e-3"])
def test_starters_are_valid(kind, name):
    text = starter(kind, name, "../schemas/x.json")
    assert text.startswith("# yaml-language-server: $schema=../schemas/x.json\n")
    document = parse_document(text)
    check(document, kind)
    assert document.data["name"] == name


def test_bad_starters():
    with pytest.raises(InputError, match="no starter for 'run'"):
        starter("run", "x", "s")
    with pytest.raises(InputError, match="is not a name"):
        starter("model", "../x", "s")
