"""FFN inputs: computed, kept, found again, whatever happens meanwhile."""

import errno
import hashlib
import multiprocessing
import os
import shutil
from collections import Counter, namedtuple

import psutil
import pytest
import query_processes
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model

from mpn.backbones import Backbone
from mpn.errors import MpnInputError
from mpn.queries import QueryCache, compute_packed
from mpn.queries.files import Layout, Partial, read_packed
from mpn.queries.packed import Plan, batches_by_length

LAST = 2
KIB_IN_GIB = 2.0**-20


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr("mpn.queries.packed._CPU_POSITIONS", query_processes.POSITIONS)


@pytest.fixture(scope="module")
def small_directory(tokenizer, tmp_path_factory):
    return save_tiny_model("xlm-roberta", tmp_path_factory.mktemp("small"), tokenizer)


@pytest.fixture(scope="module")
def small(small_directory):
    """One tiny model of float32, where the architecture does not matter."""
    return Backbone(small_directory)


@pytest.fixture
def calls(small, monkeypatch):
    """The batches that are run."""
    made = []
    prefix = small.prefix

    def counted(texts, layer):
        made.append(list(texts))
        return prefix(texts, layer)

    monkeypatch.setattr(small, "prefix", counted)
    return made


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


def interrupt(monkeypatch, backbone, n_batches, error=KeyboardInterrupt):
    """Let the computation end with an error after some batches."""
    prefix, left = backbone.prefix, iter(range(n_batches))

    def fails(texts, layer):
        if next(left, None) is None:
            raise error
        return prefix(texts, layer)

    monkeypatch.setattr(backbone, "prefix", fails)


def has_free(monkeypatch, n_bytes):
    usage = namedtuple("usage", "total used free")(2**40, 0, n_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


# What is computed


@pytest.mark.parametrize("layer", [0, 1, LAST])
def test_each_text_has_the_rows_it_has_alone(backbone, texts, layer):
    packed = compute_packed(backbone, texts, layer)
    assert packed.inputs.shape == (int(packed.lengths.sum()), 16)
    for text, start, length in zip(texts, packed.starts, packed.lengths, strict=True):
        alone = backbone.prefix([text], layer).inputs[0]
        rows = packed.inputs[start : start + length]
        torch.testing.assert_close(rows, alone, atol=1e-12, rtol=0)


def test_the_last_layer_keeps_cls_only(small, texts, tmp_path):
    packed = QueryCache(tmp_path).packed(small, texts, LAST)
    assert packed.lengths.tolist() == [1] * len(texts)
    assert packed.starts.tolist() == list(range(len(texts)))
    assert QueryCache(tmp_path).packed(small, texts, 1).lengths.min() > 1


def test_pairs_are_read_as_pairs_and_cut_to_the_longest_allowed(small_directory, tmp_path):
    backbone = Backbone(small_directory, max_tokens=12)
    pairs = (("one premise", "a hypothesis"), ("another, much longer premise", "no"), ("a", "b"))
    packed = QueryCache(tmp_path).packed(backbone, pairs, 1)
    assert packed.lengths.max() == 12
    for i, pair in enumerate(pairs):
        alone = backbone.prefix([pair], 1).inputs[0]
        rows = packed.inputs[packed.starts[i] :][: packed.lengths[i]]
        torch.testing.assert_close(rows, alone, atol=1e-5, rtol=0)


def test_batches_hold_texts_of_similar_length_up_to_a_number_of_positions():
    assert batches_by_length([5, 3, 9, 3, 20], 10) == ((1, 3), (0,), (2,), (4,))
    assert batches_by_length([5, 5], 10) == ((0, 1),)
    assert batches_by_length([5, 5], 9) == ((0,), (1,))
    assert batches_by_length([], 9) == ()


def test_a_batch_that_does_not_fit_into_memory_is_halved(small, texts, monkeypatch):
    whole = compute_packed(small, texts, 1)
    prefix, sizes = small.prefix, []

    def scarce(batch, layer):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return prefix(batch, layer)

    monkeypatch.setattr(small, "prefix", scarce)
    torch.testing.assert_close(
        compute_packed(small, texts, 1).inputs, whole.inputs, atol=1e-5, rtol=0
    )
    assert max(sizes) > 1
    interrupt(monkeypatch, small, 0, torch.OutOfMemoryError)
    with pytest.raises(torch.OutOfMemoryError):
        compute_packed(small, texts[:1], 1)


# What is kept


@pytest.mark.parametrize("layer", [1, LAST])
def test_what_was_computed_once_is_read_to_the_last_bit(small, texts, tmp_path, calls, layer):
    computed = compute_packed(small, texts, layer)
    n_batches = len(calls)
    assert n_batches > 2
    for _ in range(2):
        kept = QueryCache(tmp_path).packed(small, texts, layer)
        assert torch.equal(kept.inputs, computed.inputs)
        assert torch.equal(kept.lengths, computed.lengths)
    assert len(calls) == 2 * n_batches


def test_a_file_is_an_ordinary_safetensors_file_and_alone(small, texts, tmp_path):
    packed = QueryCache(tmp_path).packed(small, texts, 1)
    tensors = load_file(only(tmp_path, "*.safetensors"))
    assert tensors.keys() == {"inputs", "lengths"}
    assert torch.equal(tensors["inputs"], packed.inputs)
    assert torch.equal(tensors["lengths"], packed.lengths)
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".lock"}


def test_whatever_changes_the_numbers_has_a_file_of_its_own(
    small, small_directory, texts, tmp_path
):
    cache = QueryCache(tmp_path)
    cache.packed(small, texts, 1)
    cache.packed(small, texts[1:], 1)
    cache.packed(small, texts[::-1], 1)
    cache.packed(small, texts, LAST)
    cache.packed(Backbone(small_directory, max_tokens=9), texts, 1)
    cache.packed(Backbone(small_directory, dtype=torch.float64), texts, 1)
    QueryCache(tmp_path, storage="bfloat16").packed(small, texts, 1)
    assert len(list(tmp_path.glob("*.safetensors"))) == 7


def test_no_texts_have_no_rows(small, tmp_path):
    for _ in range(2):
        packed = QueryCache(tmp_path).packed(small, (), 1)
        assert packed.inputs.shape == (0, 16)
        assert packed.lengths.shape == (0,)


def test_a_file_is_mapped_not_copied(tmp_path):
    n_rows, d_model = 2**16, 256  # 64 MiB
    plan = Plan((n_rows,), (0,), ((0,),))
    layout = Layout("a", plan, d_model, torch.float32)
    (tmp_path / "a.partial").touch()
    with Partial(tmp_path / "a.partial", layout) as partial:
        partial.write(0, torch.ones(n_rows, d_model))
        partial.finish(tmp_path / "a.safetensors")
    process = psutil.Process()
    before = process.memory_info().rss
    kept = read_packed(
        tmp_path / "a.safetensors", "a", n_texts=1, d_model=d_model, stored=torch.float32
    )
    assert process.memory_info().rss - before < 2**23
    assert kept.inputs.sum() == n_rows * d_model


def test_writes_of_a_caller_never_reach_the_file(small, texts, tmp_path):
    packed = QueryCache(tmp_path).packed(small, texts, 1)
    path = only(tmp_path, "*.safetensors")
    original, digest = packed.inputs.clone(), hashlib.sha256(path.read_bytes()).digest()
    packed.inputs.fill_(7.0)
    assert hashlib.sha256(path.read_bytes()).digest() == digest
    assert torch.equal(QueryCache(tmp_path).packed(small, texts, 1).inputs, original)


@pytest.mark.parametrize(("storage", "relative"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
def test_rounded_storage_is_half_the_size_and_within_half_a_last_bit(
    small, texts, tmp_path, storage, relative
):
    exact = compute_packed(small, texts, 1)
    for _ in range(2):
        kept = QueryCache(tmp_path, storage=storage).packed(small, texts, 1)
        assert kept.inputs.dtype == torch.float32
        error = (kept.inputs - exact.inputs).abs()
        assert (error <= relative * exact.inputs.abs() + 1e-7).all()
        assert error.max() > 0
    stored = load_file(only(tmp_path, "*.safetensors"))["inputs"]
    assert stored.nbytes * 2 == exact.inputs.nbytes


def test_numbers_too_large_for_float16_are_an_error(small, texts, tmp_path, monkeypatch):
    prefix = small.prefix

    def large(batch, layer):
        made = prefix(batch, layer)
        made.inputs[0, 0, 0] = 65520.0  # the first that is rounded to infinity
        return made

    monkeypatch.setattr(small, "prefix", large)
    with pytest.raises(MpnInputError, match=r"6\.55e\+04 is too large for storage float16"):
        QueryCache(tmp_path, storage="float16").packed(small, texts, 1)
    QueryCache(tmp_path, storage="bfloat16").packed(small, texts, 1)


# What is damaged


def cut(path):
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path):
    os.truncate(path, path.stat().st_size + 1)


def break_header(path):
    with path.open("r+b") as file:
        file.seek(9)
        file.write(b"?")


def other_contents(path):
    tensors = load_file(path)
    save_file({name: tensor.flip(0) for name, tensor in tensors.items()}, path)


def break_lengths(path):
    with path.open("r+b") as file:
        file.seek(8 + int.from_bytes(path.read_bytes()[:8], "little"))
        file.write(b"\x7f")


DAMAGES = (cut, lengthen, break_header, other_contents, break_lengths)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_computed_again(small, texts, tmp_path, calls, damage):
    computed = QueryCache(tmp_path).packed(small, texts, 1).inputs.clone()
    n_batches = len(calls)
    damage(only(tmp_path, "*.safetensors"))
    assert torch.equal(QueryCache(tmp_path).packed(small, texts, 1).inputs, computed)
    assert len(calls) == 2 * n_batches


def flip_a_bit(folder):
    path = only(folder, "*.partial")
    with path.open("r+b") as file:
        data = file.read()
        at = max(i for i, byte in enumerate(data) if byte)  # in a row that was written
        file.seek(at)
        file.write(bytes([data[at] ^ 1]))


def without_journal(folder):
    only(folder, "*.journal").unlink()


def cut_journal(folder):
    cut(only(folder, "*.journal"))


def nonsense_in_journal(folder):
    with only(folder, "*.journal").open("ab") as file:
        file.write(b"\xff\n999 1\n2 5 5\n2 0\n3 7")


@pytest.mark.parametrize(
    ("damage", "n_lost"),
    [
        (lambda folder: None, 0),
        (flip_a_bit, 1),
        (cut_journal, 1),
        (nonsense_in_journal, 0),
        (without_journal, 2),
        (lambda folder: break_header(only(folder, "*.partial")), 2),
        (lambda folder: os.truncate(only(folder, "*.partial"), 99), 2),
        (lambda folder: only(folder, "*.partial").unlink(), 2),
    ],
    ids="nothing bit cut nonsense journal header truncated gone".split(),
)
def test_what_is_left_is_continued_as_far_as_it_is_whole(
    small, texts, tmp_path, monkeypatch, calls, damage, n_lost
):
    computed = compute_packed(small, texts, 1)
    n_batches = len(calls)
    with monkeypatch.context() as context:
        interrupt(context, small, 2)
        with pytest.raises(KeyboardInterrupt):
            QueryCache(tmp_path).packed(small, texts, 1)
    damage(tmp_path)
    calls.clear()
    assert torch.equal(QueryCache(tmp_path).packed(small, texts, 1).inputs, computed.inputs)
    assert len(calls) == n_batches - 2 + n_lost
    assert not [*tmp_path.glob("*.partial"), *tmp_path.glob("*.journal")]


# Several processes


@pytest.fixture(scope="module")
def processes():
    """Processes that start quickly, and share nothing with this one."""
    context = multiprocessing.get_context("forkserver")
    modeling = "transformers.models.xlm_roberta.modeling_xlm_roberta"
    context.set_forkserver_preload(["mpn.queries", modeling])
    return context


def ask_in_two_processes(processes, folder, directory, texts, **options):
    barrier = processes.Barrier(2)
    arguments = (directory, folder, texts, 1, barrier)
    started = [
        processes.Process(target=query_processes.ask, args=arguments, kwargs=options)
        for _ in range(2)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    return sorted(process.exitcode for process in started)


def test_two_processes_that_ask_at_once_compute_once(
    processes, small, small_directory, texts, tmp_path, calls
):
    computed = compute_packed(small, texts, 1)
    assert ask_in_two_processes(processes, tmp_path, small_directory, texts) == [0, 0]
    by_process = Counter((tmp_path / "calls").read_text().split())
    assert list(by_process.values()) == [len(calls)]
    answers = [load_file(path)["inputs"] for path in tmp_path.glob("*.answer")]
    assert len(answers) == 2
    assert all(torch.equal(answer, computed.inputs) for answer in answers)


def test_a_waiting_process_continues_what_a_killed_one_began(
    processes, small, small_directory, texts, tmp_path, calls
):
    computed = compute_packed(small, texts, 1)
    exits = ask_in_two_processes(processes, tmp_path, small_directory, texts, n_before_kill=2)
    assert exits == [-9, 0]
    by_process = Counter((tmp_path / "calls").read_text().split())
    assert sorted(by_process.values()) == sorted([2, len(calls) - 2])
    answer = load_file(only(tmp_path, "*.answer"))["inputs"]
    assert torch.equal(answer, computed.inputs)


# Limits


def test_the_least_recently_used_files_make_room(small, texts, tmp_path):
    cache = QueryCache(tmp_path)
    held = [cache.packed(small, texts[i : i + 1], 1) for i in range(3)]
    copies = [one.inputs.clone() for one in held]
    files = [
        tmp_path / f"{cache._address(small, texts[i : i + 1], 1, 'all')}.safetensors"
        for i in (0, 1)
    ]
    for path in tmp_path.glob("*.safetensors"):
        os.utime(path, (100, 100))
    os.utime(files[0], (50, 50))
    cache.packed(small, texts[:1], 1)  # warm, and still a use
    os.utime(files[1], (60, 60))
    sizes = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))

    limited = QueryCache(tmp_path, limit_gib=sizes / 2**30)
    limited.packed(small, texts[:1], LAST)  # smaller than the first to go
    assert [path.exists() for path in files] == [True, False]
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    for one, copy in zip(held, copies, strict=True):
        assert torch.equal(one.inputs, copy)  # who has a dropped file mapped keeps it


def test_room_is_made_only_as_far_as_needed(small, texts, tmp_path):
    QueryCache(tmp_path).packed(small, texts[:1], LAST)
    size = only(tmp_path, "*.safetensors").stat().st_size
    for limit, n_left in ((2 * size, 2), (2 * size - 1, 1)):
        QueryCache(tmp_path, limit_gib=limit / 2**30).packed(small, texts[1:2], LAST)
        assert len(list(tmp_path.glob("*.safetensors"))) == n_left
        for path in tmp_path.glob("*.safetensors"):
            path.unlink()
        QueryCache(tmp_path).packed(small, texts[:1], LAST)


def test_what_another_process_is_busy_with_is_not_dropped(small, texts, tmp_path, monkeypatch):
    prefix = small.prefix

    def meanwhile(batch, layer):
        monkeypatch.setattr(small, "prefix", prefix)
        QueryCache(tmp_path, limit_gib=4 * KIB_IN_GIB).packed(small, texts[:1], LAST)
        return prefix(batch, layer)

    monkeypatch.setattr(small, "prefix", meanwhile)
    QueryCache(tmp_path).packed(small, texts, 1)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_what_exceeds_the_limit_alone_is_an_error_before_anything_is_dropped(
    small, texts, tmp_path
):
    cache = QueryCache(tmp_path, limit_gib=2 * KIB_IN_GIB)
    cache.packed(small, texts[:1], LAST)
    with pytest.raises(MpnInputError) as caught:
        cache.packed(small, texts, 1)
    assert caught.value.place == str(tmp_path)
    assert "12 texts at layer 1" in caught.value.found
    assert caught.value.found.endswith(" GiB, and the cache may have 1.9e-06 GiB")
    assert "`resources.cache_gib`" in caught.value.wanted
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_a_full_disk_is_an_error_before_anything_is_computed(
    small, texts, tmp_path, monkeypatch, calls
):
    QueryCache(tmp_path).packed(small, texts[:1], LAST)
    calls.clear()
    has_free(monkeypatch, 2**28 + 1000)
    with pytest.raises(MpnInputError, match=r"12 texts at layer 1 .* need .* 0\.25 GiB free") as e:
        QueryCache(tmp_path).packed(small, texts, 1)
    assert e.value.place == str(tmp_path)
    assert "free space" in e.value.wanted
    assert not calls
    assert len(list(tmp_path.glob("*.safetensors"))) == 1  # dropping it would not have helped
    has_free(monkeypatch, 2**28 + 100_000)
    QueryCache(tmp_path).packed(small, texts, 1)


def test_old_files_go_where_only_that_makes_room_on_the_disk(small, texts, tmp_path, monkeypatch):
    QueryCache(tmp_path).packed(small, texts[:1], LAST)
    old = only(tmp_path, "*.safetensors")
    freed = old.stat().st_size
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda path: usage(2**40, 0, 2**28 + freed - 1 + (0 if old.exists() else freed)),
    )
    QueryCache(tmp_path).packed(small, texts[1:2], LAST)
    assert not old.exists()
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_space_that_another_computation_awaits_is_not_free(small, texts, tmp_path, monkeypatch):
    with (tmp_path / "other.partial").open("wb") as file:
        file.truncate(2**20)
    has_free(monkeypatch, 2**28 + 2**20 + 100)
    with FileLock(tmp_path / "other.lock"), pytest.raises(MpnInputError, match="this disk has"):
        QueryCache(tmp_path).packed(small, texts[:1], LAST)
    QueryCache(tmp_path).packed(small, texts[:1], LAST)  # nobody is busy with it any more
    assert not (tmp_path / "other.partial").exists()


def test_a_disk_that_fills_up_is_an_error_and_what_is_written_is_continued(
    small, texts, tmp_path, monkeypatch, calls
):
    computed = compute_packed(small, texts, 1)
    n_batches = len(calls)
    with monkeypatch.context() as context:
        interrupt(context, small, 2, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(MpnInputError, match="this disk has"):
            QueryCache(tmp_path).packed(small, texts, 1)
    calls.clear()
    assert torch.equal(QueryCache(tmp_path).packed(small, texts, 1).inputs, computed.inputs)
    assert len(calls) == n_batches - 2


# What is warm


def test_asking_again_for_a_tuple_costs_no_hash_and_no_file(small, texts, tmp_path, monkeypatch):
    cache, asked = QueryCache(tmp_path), tuple(texts)
    first = cache.packed(small, asked, 1)
    shutil.rmtree(tmp_path)
    monkeypatch.setattr("mpn.queries.cache.texts_fingerprint", lambda _: pytest.fail("hashed"))
    assert cache.packed(small, asked, 1) is first


def test_a_list_that_has_changed_is_other_texts(small, texts, tmp_path):
    cache, asked = QueryCache(tmp_path), list(texts)
    cache.packed(small, asked, LAST)
    asked[0] = ("something else",)
    changed = cache.packed(small, asked, LAST)
    assert torch.equal(changed.inputs, compute_packed(small, asked, LAST).inputs)


def test_what_is_warm_has_a_limit(small, texts, tmp_path):
    n_bytes = 16 * 4 * 4  # of four texts at the last layer
    cache = QueryCache(tmp_path, warm_gib=2 * n_bytes / 2**30)
    one, two, three = (tuple(texts[i : i + 4]) for i in (0, 4, 8))
    first, second = (cache.packed(small, asked, LAST) for asked in (one, two))
    assert cache.packed(small, one, LAST) is first
    cache.packed(small, three, LAST)
    assert cache.packed(small, one, LAST) is first
    assert cache.packed(small, two, LAST) is not second
