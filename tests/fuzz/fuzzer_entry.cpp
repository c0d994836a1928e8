// The one target that is linked, as libFuzzer calls it; and the inputs that it starts from:
//
//     fuzz-TARGET --seeds DIRECTORY
#include <cstdlib>
#include <fstream>

#include "fuzz_target.hpp"

/// Little freed memory is kept: to fork takes the longer, the more memory there is.
extern "C" const char* __asan_default_options() { return "quarantine_size_mb=16"; }

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    if (*argc != 3 || std::string_view((*argv)[1]) != "--seeds") return 0;
    unsigned number = 0;
    for (const auto& seed : vmad::fuzz::targets().at(0).seeds())
        std::ofstream(std::string((*argv)[2]) + "/seed-" + std::to_string(++number), std::ios::binary)
            .write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
    std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    vmad::fuzz::targets().at(0).run({reinterpret_cast<const std::byte*>(data), size});
    return 0;
}
