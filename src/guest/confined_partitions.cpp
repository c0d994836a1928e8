#include "guest/confined_partitions.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "base/child_start.hpp"
#include "base/error.hpp"
#include "guest/confinement.hpp"

namespace vmad::guest {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxNameBytes = 48;

// ---- in the other process ----

/// The standard descriptors lead nowhere, the others are closed but for these.
void keep_only(std::vector<int> kept) {
    const base::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::dup2(null.get(), standard) < 0) base::throw_errno("dup2", "/dev/null");
    std::sort(kept.begin(), kept.end());
    unsigned next = STDERR_FILENO + 1;
    for (const int fd : kept) {
        const auto number = static_cast<unsigned>(fd);
        if (number > next && ::close_range(next, number - 1, 0) != 0)
            base::throw_errno("close_range", "descriptors");
        next = std::max(next, number + 1);
    }
    if (::close_range(next, ~0U, 0) != 0) base::throw_errno("close_range", "descriptors");
}

std::string name_of(const Partition& partition) {
    const auto& what = partition.file_system.empty() ? partition.type : partition.file_system;
    return what.empty() ? fmt::format("{}", partition.number)
                        : fmt::format("{} ({})", partition.number, what);
}

/// Empty for what cannot be read.
std::string find_name(const DiskPlace& place) try {
    const auto partition = find_partition(place.read, place.disk_bytes, place.offset);
    return partition ? name_of(*partition) : "";
} catch (const std::exception&) {
    return "";
}

void write_line(int fd, std::string line) {
    std::replace(line.begin(), line.end(), '\n', ' ');
    line.resize(std::min(line.size(), kMaxNameBytes));
    line += '\n';
    if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ::_exit(1);
}

[[noreturn]] void become(int pipe, std::span<const DiskPlace> places, const ConfinedReading& reading) {
    try {
        // When we are killed, it ends by itself. What confines it takes PR_SET_PDEATHSIG away.
        ::signal(SIGALRM, SIG_DFL);
        ::signal(SIGTERM, SIG_DFL);
        ::alarm(static_cast<unsigned>(std::chrono::ceil<std::chrono::seconds>(reading.patience).count()) + 1);
        auto kept = reading.files;
        kept.push_back(pipe);
        keep_only(std::move(kept));
        confine();
        for (const auto& place : places) write_line(pipe, find_name(place));
    } catch (...) {
        ::_exit(1);
    }
    ::_exit(0);
}

// ---- in this one ----

/// Ends the process, unless it has. One that hangs in the kernel is left behind.
class OtherProcess {
  public:
    explicit OtherProcess(pid_t process) : process_(process) {}
    OtherProcess(const OtherProcess&) = delete;
    OtherProcess& operator=(const OtherProcess&) = delete;
    ~OtherProcess() {
        ::kill(process_, SIGKILL);
        for (int i = 0; i < kLooks && ::waitpid(process_, nullptr, WNOHANG) == 0; ++i) ::usleep(kLookEveryUs);
    }

  private:
    static constexpr int kLooks = 100;
    static constexpr useconds_t kLookEveryUs = 10'000;
    pid_t process_;
};

/// What comes until the pipe ends, the time is up, or it is more than can be right.
std::string read_lines(int pipe, std::size_t limit_bytes, Clock::time_point end,
                       const base::CancelFlag& cancel) {
    constexpr int kLookAgainMs = 200;  // a signal may come just before the call
    std::string text;
    while (Clock::now() < end && text.size() <= limit_bytes) {
        cancel.check();
        pollfd ready{pipe, POLLIN, 0};
        if (::poll(&ready, 1, kLookAgainMs) <= 0) continue;
        std::array<char, 1024> bytes;
        const auto count = ::read(pipe, bytes.data(), bytes.size());
        if (count == 0 || (count < 0 && errno != EINTR)) break;
        if (count > 0) text.append(bytes.data(), static_cast<std::size_t>(count));
    }
    return text;
}

/// It comes from a process that the guest's disk may have taken over.
std::string printable_name(std::string_view line) {
    std::string name(line.substr(0, kMaxNameBytes));
    for (char& c : name)
        if (c < ' ' || c > '~') c = '?';
    return name;
}

}  // namespace

std::vector<std::string> name_partitions(std::span<const DiskPlace> places, const ConfinedReading& reading,
                                         const base::CancelFlag& cancel) {
    std::vector<std::string> names(places.size());
    if (places.empty()) return names;
    auto pipe = base::make_pipe();
    const auto end = Clock::now() + reading.patience;
    const auto process = ::fork();
    if (process < 0) base::throw_errno("fork", "to read partitions");
    if (process == 0) become(pipe.write.get(), places, reading);
    pipe.write.reset();
    const OtherProcess other(process);
    const auto text = read_lines(pipe.read.get(), places.size() * (kMaxNameBytes + 1), end, cancel);
    std::string_view rest = text;
    for (auto& name : names) {
        const auto line_end = rest.find('\n');
        if (line_end == std::string_view::npos) break;
        name = printable_name(rest.substr(0, line_end));
        rest.remove_prefix(line_end + 1);
    }
    return names;
}

}  // namespace vmad::guest
