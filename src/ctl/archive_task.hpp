// What the commands share that read a whole archive: its opening, their options and their surroundings.
#pragma once

#include <string>

#include "ctl/progress_bar.hpp"
#include "ctl/stop_signals.hpp"
#include "io/file_system.hpp"
#include "repack/proof.hpp"

namespace CLI {
class App;
}

namespace vmad::ctl {

/// Opens an archive for reading. Throws base::Error when it is no regular file.
[[nodiscard]] io::File open_archive(io::FileSystem& fs, const std::string& path);

/// Adds --threads to `app`; the value is written to `threads`.
void add_threads_option(CLI::App& app, unsigned& threads);

/// Options that stop with `signals` and tell `bar`, which outlive what is returned.
[[nodiscard]] repack::TaskOptions task_options(unsigned threads, const StopSignals& signals,
                                               ProgressBar& bar);

}  // namespace vmad::ctl
