// vmactl repack --in-place: archives one after the other, each replaced by its canonical form.
#pragma once

#include <string>
#include <vector>

#include "ctl/commands/command.hpp"
#include "engine/repack.hpp"

namespace vmad::ctl {

struct InPlaceRun {
    std::vector<std::string> paths;
    std::string state_directory;
    engine::RepackOptions repack;  ///< without a progress sink: each archive gets a bar of its own
    bool verbose = false;
};

/// Settles first what earlier runs left behind, then reports on each archive and goes on after a bad one.
/// Throws base::Cancelled, and base::Error when the records cannot be kept.
[[nodiscard]] ExitCode repack_in_place_all(Context& context, const InPlaceRun& run);

}  // namespace vmad::ctl
