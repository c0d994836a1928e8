// Reads files and directories of a guest, and sends what is to be written as CopyRecords.
//
// What cannot be read is reported as failed, and the rest is sent all the same. Runs in the confined process.
#pragma once

#include <span>
#include <string>

#include "guest/copy_record.hpp"
#include "guest/volume_tree.hpp"

namespace vmad::guest {

struct CopySource {
    std::string path;    ///< absolute, in the tree
    std::string target;  ///< its name at the target; empty: what is in a directory goes there itself
};

/// Sends all but CopyStep::done. Throws base::SystemError for the pipe.
void send_files(VolumeTree& tree, std::span<const CopySource> sources, int fd);

}  // namespace vmad::guest
