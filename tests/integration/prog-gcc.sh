#!/bin/bash
# gcc and g++ on a large C and a large C++ file: the object files must be the same bytes.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need gcc g++ awk
awk -v n="${GCC_FUNCTIONS:-50}" 'BEGIN {
    print "struct node { struct node *next; int key; double weight[4]; };"
    for (i = 0; i < n; i++) {
        printf "static const int table%d[] = {", i
        for (k = 0; k < 40; k++) printf "%d, ", (i * 31 + k * 17) % 1000
        print "};"
        printf "double work%d(struct node *n, int limit)\n{\n    double sum = %d;\n", i, i
        print  "    for (int i = 0; i < limit && n; i++, n = n->next) {"
        printf "        switch (n->key %% 5) {\n        case 0: sum += table%d[(unsigned)i %% 40]; break;\n", i
        print  "        case 1: sum *= n->weight[i & 3]; break;"
        printf "        case 2: n->key ^= %d; break;\n        default: sum -= n->weight[1] / (i + 1);\n        }\n    }\n", i
        print  "    return sum;\n}"
    }
}' >big.c
awk -v n="${GCC_CLASSES:-2}" 'BEGIN {
    print "#include <algorithm>\n#include <map>\n#include <string>\n#include <vector>"
    print "template <int N> struct deep { static constexpr unsigned long v = deep<N - 1>::v * 3 + N; };"
    print "template <> struct deep<0> { static constexpr unsigned long v = 1; };"
    for (i = 0; i < n; i++) {
        printf "struct type%d { std::string name; std::map<int, std::vector<type%d *>> by; unsigned long n = deep<%d>::v; };\n", i, i, 100 + i
        printf "long use%d(std::vector<type%d> &v)\n{\n    long s = 0;\n", i, i
        printf "    std::sort(v.begin(), v.end(), [](const type%d &a, const type%d &b) { return a.name < b.name; });\n", i, i
        printf "    for (auto &t : v)\n        for (auto &p : t.by)\n            s += p.first + static_cast<long>(p.second.size()) + static_cast<long>(t.n);\n    return s;\n}\n"
    }
}' >big.cc
cat >build <<'SH'
#!/bin/sh
set -e
gcc -O2 -g -c big.c -o c.o
g++ -O1 -std=c++17 -frandom-seed=1 -c big.cc -o cc.o
gcc -O0 -S -o - big.c | sha256sum
sha256sum c.o cc.o
gcc -Wall -Wextra -fsyntax-only -Wconversion big.c 2>&1 | sha256sum
rm -f c.o cc.o
SH
chmod +x build
same_output -e -c 'cc1 cc1plus' objects ./build
finish
