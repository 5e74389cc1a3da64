"""Reads profile.proto as its description has it, knowing nothing of who wrote it.

usage: pprof.py FILE TYPE  prints a line a stack, outermost function first, and its value.
"""
import gzip
import sys


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
            assert len(value) == size
        else:
            raise ValueError(f"wire type {tag & 7}")
        yield tag >> 3, value


def numbers(data):
    at, out = 0, []
    while at < len(data):
        value, at = varint(data, at)
        out.append(value)
    return out


def read(path):
    texts, functions, places, samples, types, mappings = [], {}, {}, [], [], {}
    with gzip.open(path) as f:
        data = f.read()
    for field, value in fields(data):
        if field == 6:
            texts.append(value.decode())
        elif field == 1:
            types.append(dict(fields(value)))
        elif field == 2:
            ids, values = [], []
            for inner, v in fields(value):
                if inner == 1:
                    ids += numbers(v)
                elif inner == 2:
                    values += numbers(v)
            samples.append((ids, values))
        elif field == 3:
            m = dict(fields(value))
            mappings[m[1]] = m
        elif field == 4:
            place, lines = {}, []
            for inner, v in fields(value):
                if inner == 4:
                    lines.append(dict(fields(v)))
                else:
                    place[inner] = v
            places[place[1]] = (place, lines)
        elif field == 5:
            f = dict(fields(value))
            functions[f[1]] = f
    assert texts[0] == ""
    for place, _ in places.values():
        m = mappings[place[2]]
        assert m[2] <= place[3] < m[3], "an address outside its mapping"
    return texts, functions, places, samples, types


def main():
    texts, functions, places, samples, types = read(sys.argv[1])
    wanted = [texts[t[1]] for t in types].index(sys.argv[2])
    for ids, values in samples:
        assert len(values) == len(types)
        names = []
        for i in reversed(ids):
            names += [texts[functions[line[1]][2]] for line in reversed(places[i][1])]
        if values[wanted]:
            print(";".join(n.replace(";", ":") for n in names), values[wanted])


if __name__ == "__main__":
    main()
