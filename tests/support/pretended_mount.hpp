// A file system whose table of mounts says what a test wants: that everything lies on one mount of this type.
#pragma once

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <string>

#include <fmt/format.h>

#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::support {

class PretendedMount : public FaultFileSystem {
  public:
    /// The file system of `path`, mounted on the root; by a type of "" it is mounted nowhere.
    void pretend(const std::string& path, const std::string& type) {
        const auto device = FileSystem::status(FileSystem::open(path, O_RDONLY)).st_dev;
        const auto number = fmt::format("{}:{}", major(device), minor(device));
        files_.write("mountinfo",
                     type.empty() ? "" : fmt::format("1 0 {} / / rw - {} any rw\n", number, type));
    }

    io::File open(const std::string& path, int flags, mode_t mode = 0) override {
        const bool is_table = path == "/proc/self/mountinfo" && files_.has("mountinfo");
        return FaultFileSystem::open(is_table ? files_ / "mountinfo" : path, flags, mode);
    }

  private:
    TemporaryDirectory files_{TemporaryDirectory::fast_base()};
};

}  // namespace vmad::support
