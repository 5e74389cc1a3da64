// cxx_hello.cc - libstdc++ allocates 72,704 bytes before any constructor of a preload runs; static
// objects allocate before main and free after it.
#include <iostream>
#include <string>
#include <vector>

static std::vector<std::string> before_main(100, std::string(100, 'b'));

int main()
{
    std::vector<std::string> words(before_main);
    words.resize(10);
    before_main.resize(200, "more than fits in the small buffer of a string");
    std::cout << "hello " << words.size() << '\n';
    return 0;
}
