#include "command_run.hpp"

#include <unistd.h>

#include <memory>

#include "cli/arguments.hpp"
#include "support/guest.hpp"
#include "support/memory_file.hpp"

namespace vmad::fault {
namespace {

/// Takes what is written to standard output and error while it lives.
class Captured {
  public:
    Captured() {
        for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
            saved_[fd] = base::UniqueFd(::dup(fd));
            ::dup2(file_.fd(), fd);
        }
    }
    Captured(const Captured&) = delete;
    Captured& operator=(const Captured&) = delete;
    ~Captured() {
        for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(saved_[fd].get(), fd);
    }
    [[nodiscard]] std::string text() const {
        const auto bytes = testing::content_of(file_);
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }

  private:
    io::File file_ = testing::memory_file();
    base::UniqueFd saved_[STDERR_FILENO + 1];
};

}  // namespace

CommandRun run_command(io::FileSystem& fs, const std::vector<std::string>& words) {
    cli::ArgumentParser parser("vmactl", "", "");
    std::unique_ptr<ctl::Command> command;
    for (const auto& entry : ctl::command_table()) {
        if (entry.name != words.front()) continue;
        command = entry.make();
        auto subcommand = parser.arguments().subcommand(entry.name, "");
        command->define(subcommand);
    }
    std::vector<const char*> argv{"vmactl"};
    for (const auto& word : words) argv.push_back(word.c_str());
    (void)parser.parse(static_cast<int>(argv.size()), argv.data());
    const Captured captured;
    const ctl::GlobalOptions options;
    ctl::Console console;
    ctl::Context context{options, console, fs};
    ctl::ExitCode code{};
    try {
        code = command->run(context);
    } catch (const std::exception&) {
        code = ctl::report_failure(console);
    }
    return {code, captured.text()};
}

}  // namespace vmad::fault
