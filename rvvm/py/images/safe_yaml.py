"""YAML of somebody else's: plain data, of a size and depth that people write.

PyYAML's safe loader makes no objects, but it raises what its constructors meet, and a few lines of
aliases or merges stand for more than memory holds. The nodes are counted before values are made.
"""

from __future__ import annotations

from typing import Any

import yaml

DEEPEST = 20
MOST_VALUES = 20_000
MOST_TEXT = 16 << 20
"""Characters, each alias counted as what it stands for."""
_TAG = "tag:yaml.org,2002:"
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map", "merge", "timestamp")


class Wrong(Exception):
    """What is wrong with a text."""


class _Loader(yaml.SafeLoader):
    """A date is the text that was written: there is no use for it as anything else."""


def _as_written(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor(f"{_TAG}timestamp", _as_written)


def load(text: str) -> Any:
    """The value of a text; ``Wrong`` for one that is no YAML, or too much of it."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _measure(node, {}, ())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise Wrong(f"not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise Wrong("nested too deeply") from None
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        # A number or another scalar that its tag cannot mean.
        raise Wrong(f"not YAML: {type(error).__name__}: {error}") from None


def _measure(
    node: yaml.Node, known: dict[int, tuple[int, int]], above: tuple[int, ...]
) -> tuple[int, int]:
    """How many values and characters a node stands for."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in above:
        raise Wrong(f"{_place(node)}: within itself")
    if len(above) > DEEPEST:
        raise Wrong(f"{_place(node)}: nested more than {DEEPEST} deep")
    if node.tag.removeprefix(_TAG) not in _PLAIN:
        raise Wrong(f"{_place(node)}: the tag {node.tag.replace(_TAG, '!!')} is not known here")
    values, size = 1, 0
    if isinstance(node, yaml.ScalarNode):
        size = len(node.value)
    for child in _children(node):
        more, longer = _measure(child, known, (*above, id(node)))
        values, size = values + more, size + longer
        if values > MOST_VALUES or size > MOST_TEXT:
            raise Wrong(f"{_place(node)}: stands for more than {MOST_VALUES} values")
    known[id(node)] = values, size
    return values, size


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _place(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
