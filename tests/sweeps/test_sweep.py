"""Points of a sweep by hand; names that tell every point from every other."""

import itertools
import math

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from configs import default
from dsh_jax.sweeps import sweep
from dsh_jax.sweeps.sweep import check_points, expand_sweep, parse_sweep, run_name


def test_text_is_parsed_to_numbers_words_and_tuples():
    text = "model.bits=12, 24; seed = 0;loss.multilabel=margin,bce;augment.flip=True,False;"
    assert parse_sweep(text) == (
        ("model.bits", (12, 24)),
        ("seed", (0,)),
        ("loss.multilabel", ("margin", "bce")),
        ("augment.flip", (True, False)),
    )
    assert parse_sweep("a=(1,1),(2,2)") == (("a", ((1, 1), (2, 2))),)
    assert parse_sweep("a=(1,1)") == (("a", ((1, 1),)),)
    assert parse_sweep("a=log_uniform,1e-4,1e-2") == (("a", ("log_uniform", 1e-4, 1e-2)),)


@pytest.mark.parametrize("text", ["model.bits", "model.bits=", "=12", "seed=0;bits"])
def test_text_without_key_or_values_is_refused(text):
    with pytest.raises(ValueError, match="pass key=value,value with ; between"):
        parse_sweep(text)


def test_grid_is_every_combination_the_last_key_fastest():
    assert expand_sweep((("a", (1, 2)), ("b", ("x", "y", "z")))) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 1, "b": "z"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
        {"a": 2, "b": "z"},
    ]


def test_zip_pairs_values():
    assert expand_sweep((("a", (1, 2)), ("b", (3, 4))), kind="zip") == [
        {"a": 1, "b": 3},
        {"a": 2, "b": 4},
    ]


def test_random_points_stay_in_their_ranges_and_are_seeded():
    pairs = (
        ("c", ("x", "y")),
        ("u", ("uniform", -1.0, 3.0)),
        ("l", ("log_uniform", 1e-4, 1e-2)),
        ("i", ("int", 2, 4)),
    )
    points = expand_sweep(pairs, kind="random", points=400, seed=3)
    assert {point["c"] for point in points} == {"x", "y"}
    assert {point["i"] for point in points} == {2, 3, 4}
    assert all(-1 <= point["u"] <= 3 and 1e-4 <= point["l"] <= 1e-2 for point in points)
    # Halves of the ranges, in their own scale, are as likely: four standard deviations.
    for below in (lambda point: point["u"] < 1, lambda point: point["l"] < 1e-3):
        assert abs(sum(map(below, points)) - 200) < 4 * math.sqrt(400 / 4)
    assert expand_sweep(pairs, kind="random", points=5, seed=3) == points[:5]
    assert expand_sweep(pairs, kind="random", points=5, seed=4) != points[:5]


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ((), {}, "nothing to sweep"),
        ((("a", (1,)), ("a", (2,))), {}, "has a twice"),
        ((("a", ()),), {}, r"a has \(\); pass a tuple"),
        ((("a", "bce"),), {}, "a has 'bce'; pass a tuple"),
        ((("a", 12),), {}, "a has 12; pass a tuple"),
        ((("a", (1,)),), {"kind": "gird"}, "unknown kind of sweep 'gird'; known: grid"),
        ((("a", (1, 2)), ("b", (1,))), {"kind": "zip"}, "{'a': 2, 'b': 1}; give as many"),
        ((("a", ("uniform", 0, 1)),), {}, "a has a range, which is for kind random"),
        ((("a", (1,)),), {"kind": "random"}, "has 0 points"),
        ((("a", ("uniform", 1, 1)),), {"kind": "random", "points": 1}, "lower end comes first"),
        ((("a", ("log_uniform", 0, 1)),), {"kind": "random", "points": 1}, "start above 0"),
        ((("a", ("int", 0.5, 2)),), {"kind": "random", "points": 1}, "pass whole numbers"),
    ],
)
def test_bad_sweeps_are_refused_with_a_remedy(pairs, options, message):
    with pytest.raises(ValueError, match=message):
        expand_sweep(pairs, **options)


def test_points_of_the_default_config_are_accepted():
    points = [
        {
            "model.bits": 12,
            "model.width": 1,
            "model.convs_per_group": (2, 2, 2, 2, 2),
            "loss.multilabel": "bce",
            "augment.flip": True,
        }
    ]
    check_points(default.get_config().to_dict(), points)
    config = tiny.config()
    config.update_from_flattened_dict(points[0])
    assert config.model.bits == 12


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.bit", 12, r"has no 'model\.bit'; did you mean model\.bits"),
        ("bits", 12, r"has no 'bits'; did you mean model\.bits"),
        ("optimizer.lr_rate", 0.1, r"did you mean optimizer\.learning_rate"),
        ("zzz", 1, r"the config has no 'zzz'\.$"),
        ("model", 1, r"the config has no 'model'"),
        ("sweep_kind", "zip", r"the config has no 'sweep_kind'"),
        ("model.bits", 12.0, r"model\.bits is 12\.0, a float; the config has a int there"),
        ("model.bits", True, r"a bool"),
        ("loss.x", "a", r"loss\.x is 'a', a str; the config has a float"),
        ("loss.x", True, "a bool"),
        ("data.name", 3, r"a str there, such as 'digits'; write text as '3', in quotes"),
        ("model.convs_per_group", 1, "a tuple there"),
        ("augment.flip", 1, "a bool there"),
    ],
)
def test_unknown_keys_and_wrong_types_are_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        check_points(default.get_config().to_dict(), [{key: value}])


def test_two_points_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two points named model\.bits=12;"):
        check_points(default.get_config().to_dict(), [{"model.bits": 12}, {"model.bits": 12}])


def test_name_of_a_run_is_its_overrides():
    assert run_name({"model.bits": 12, "seed": 0}) == "model.bits=12,seed=0"
    assert run_name({"loss.x": 1e-05, "m.c": (2, 1)}) == "loss.x=1e-05,m.c=2+1"
    assert run_name({"data.data_dir": "/a b/c,d=é"}) == "data.data_dir=%2Fa%20b%2Fc%2Cd%3D%C3%A9"


values = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.text(), st.tuples(st.integers(), st.integers())
)
keys = st.from_regex(r"[a-z]{1,8}\.[a-z_]{1,60}", fullmatch=True)


@given(st.dictionaries(keys, values, min_size=1, max_size=6))
def test_names_are_safe_and_short(point):
    name = run_name(point)
    assert len(name.encode()) <= 200
    assert not set(name) & set("/\\ \n\t'\"$*?[]{}|;&<>!`#:\0")
    assert run_name(dict(point)) == name


@given(st.lists(st.text(max_size=80), min_size=2, max_size=5, unique=True))
def test_different_text_has_different_names(texts):
    for one, other in itertools.combinations(texts, 2):
        assert run_name({"data.data_dir": one}) != run_name({"data.data_dir": other})


def test_long_names_that_differ_at_their_ends_stay_apart():
    names = {run_name({"data.data_dir": "a" * 300 + end}) for end in "xyz"}
    assert len(names) == 3
    assert all(len(name) <= sweep.LONGEST for name in names)


def test_config_file_may_hold_a_sweep():
    config = default.get_config()
    config.sweep = (("model.bits", (12, 24)), ("seed", (0, 1)))
    assert len(expand_sweep(config.sweep, kind=config.sweep_kind)) == 4
