import pytest
import torch

from mpn.queries import QueryCache, compute_prefix


def test_rows_come_back_in_the_order_they_were_asked_for(backbone, texts):
    whole = compute_prefix(backbone, texts, 2)
    for i, text in enumerate(texts):
        alone = compute_prefix(backbone, [text], 2)
        torch.testing.assert_close(whole.queries[i], alone.queries[0], atol=1e-12, rtol=0)


def test_what_was_computed_once_is_read(backbone, texts, tmp_path, monkeypatch):
    computed = QueryCache(tmp_path).prefix(backbone, texts, 1)
    monkeypatch.setattr("mpn.queries.compute_prefix", lambda *_: pytest.fail("computed again"))
    read = QueryCache(tmp_path).prefix(backbone, texts, 1)
    assert torch.equal(read.queries, computed.queries)
    assert torch.equal(read.mask, computed.mask)


def test_other_texts_layers_and_lengths_have_files_of_their_own(backbone, texts, tmp_path):
    cache = QueryCache(tmp_path)
    cache.prefix(backbone, texts, 1)
    cache.prefix(backbone, texts[1:], 1)
    cache.prefix(backbone, texts, 2)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    assert not list(tmp_path.glob("*.part"))


def test_the_last_layer_keeps_cls_only_and_lower_ones_every_position(backbone, texts, tmp_path):
    cache = QueryCache(tmp_path)
    assert cache.prefix(backbone, texts, 2).queries.shape == (len(texts), 1, 16)
    lower = cache.prefix(backbone, texts, 1)
    assert lower.queries.shape[1] == lower.mask.sum(1).max() > 1
