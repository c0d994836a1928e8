// What the tests of the queue share: a state directory, in memory where that can be, and a call that fails.
#pragma once

#include <cerrno>
#include <filesystem>
#include <set>
#include <string>

#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::queue::test {

class StateDirectory : public support::TemporaryDirectory {
  public:
    StateDirectory() : TemporaryDirectory(fast_base()) {}
};

inline std::set<std::string> names_in(const std::string& directory) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
        names.insert(entry.path().filename());
    return names;
}

/// Makes the call with this number, from now on, fail with EIO; 0: none.
inline void fail_call(support::FaultFileSystem& fs, unsigned number) {
    fs.forget_calls();
    fs.before = [number](const support::Call& call) {
        if (call.number == number) support::FaultFileSystem::fail(EIO, call);
    };
}

}  // namespace vmad::queue::test
