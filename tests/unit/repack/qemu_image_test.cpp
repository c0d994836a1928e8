#include "repack/qemu_image.hpp"

#include <stdlib.h>
#include <sys/stat.h>

#include <doctest/doctest.h>

#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;

TEST_CASE("whichever operation fails, there is no disk: also the sync, where qemu-img has noticed nothing") {
    support::TemporaryDirectory directory;
    directory.write("image", "x");
    directory.write("qemu-img", "#!/bin/sh\n[ $1 = convert ] || echo '{\"virtual-size\": 4096}'\n");
    ::chmod((directory / "qemu-img").c_str(), 0755);
    const std::string path = ::getenv("PATH");
    ::setenv("PATH", (directory.path() + ":" + path).c_str(), 1);
    std::set<std::string> seen;
    for (unsigned failing = 1;; ++failing) {
        support::FaultFileSystem fs;
        bool failed = false;
        fs.before = [&](const support::Call& call) {
            if (call.number != failing) return;
            failed = true;
            seen.insert(call.operation);
            support::FaultFileSystem::fail(EIO, call);
        };
        const engine::SpillPlace place{.directory = directory.path()};
        try {
            const auto disk = repack::convert_to_raw(fs, "qcow2", directory / "image", place, {});
            CHECK_FALSE(failed);
            CHECK(io::FileSystem().status(disk).st_size == 4096);
        } catch (const base::SystemError& error) {
            CHECK(failed);
            CHECK(error.number() == EIO);
        }
        if (!failed) break;
    }
    CHECK(seen.contains("sync"));
    ::setenv("PATH", path.c_str(), 1);
}
