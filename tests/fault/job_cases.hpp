// Jobs of a daemon, of each kind, format and way to publish: for tests that disturb them.
#pragma once

#include <string>
#include <vector>

#include "codec/archive_format.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fault {

struct JobCase {
    std::string title;
    std::string archive = "a.vma";  ///< its name
    codec::ArchiveFormat format = codec::ArchiveFormat::raw;
    bool unnamed = true;
    bool exchange = true;
    bool links = true;
    std::string earlier{};  ///< the name of a canonical backup beside it, to share blocks with
    bool verifies = false;  ///< a canonical archive, which stays as it is
    std::string storage = support::TemporaryDirectory::fast_base();
    bool shares = false;       ///< the file system can share blocks
    std::string dies_after{};  ///< an operation: the run is the one that recovers from that
};

inline std::vector<JobCase> job_cases() {
    using codec::ArchiveFormat;
    return {
        {.title = "raw by exchange"},
        {.title = "zst by link and rename",
         .archive = "a.vma.zst",
         .format = ArchiveFormat::zstd,
         .exchange = false},
        {.title = "gz with a name by exchange",
         .archive = "a.vma.gz",
         .format = ArchiveFormat::gzip,
         .unnamed = false},
        {.title = "raw with a name by link and rename", .unnamed = false, .exchange = false},
        {.title = "zst by bare rename",
         .archive = "a.vma.zst",
         .format = ArchiveFormat::zstd,
         .unnamed = false,
         .exchange = false,
         .links = false},
        {.title = "raw beside an earlier backup",
         .archive = "vzdump-qemu-100-2024_01_02-03_04_05.vma",
         .earlier = "vzdump-qemu-100-2024_01_01-03_04_05.vma"},
        {.title = "verify", .verifies = true},
    };
}

}  // namespace vmad::fault
