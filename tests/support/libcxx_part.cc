// libcxx_part.cc - the C++ library that tests/programs/cxx_opened.c opens.
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

extern "C" void *cxx_make();
extern "C" int cxx_use(void *p);
extern "C" char *cxx_new_text();

using numbers = std::map<int, std::unique_ptr<std::string>>;

extern "C" void *cxx_make()
{
    auto *m = new numbers;
    for (int i = 0; i < 1000; i++)
        (*m)[i] = std::make_unique<std::string>(100, 'x');
    return m;
}

extern "C" int cxx_use(void *p)
{
    auto *m = static_cast<numbers *>(p);
    int n = 0;
    for (auto &entry : *m)
        n += entry.second->size() == 100;
    try {
        throw std::runtime_error("exceptions allocate too");
    } catch (const std::exception &e) {
        n += std::strlen(e.what()) == 0;
    }
    delete m;
    return n;
}

extern "C" char *cxx_new_text()
{
    return static_cast<char *>(std::memcpy(new char[5], "text", 5));
}
