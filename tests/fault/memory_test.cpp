// Memory runs out in a job: the n-th allocation fails, and in a second round all after it too. The archive
// stays whole, the job ends with a result or as if its worker had died, every thread comes to an end, and the
// next run does the work. VMAD_FAULTS=all tries every one.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <new>

#include <doctest/doctest.h>

#include "base/buffer_pool.hpp"
#include "base/threads.hpp"
#include "engine/engine_run.hpp"
#include "support/dump.hpp"
#include "support/temporary_directory.hpp"
#include "worker/run_job.hpp"

using namespace vmad;
using api::JobState;

namespace {

std::atomic<std::int64_t> allocations = 0;
std::atomic<std::int64_t> first_failure = 0;  ///< 0: none
std::atomic<bool> stays = false;

bool is_out_of_memory() noexcept {
    const auto first = first_failure.load();
    const auto number = ++allocations;
    return first != 0 && (number == first || (stays && number > first));
}

void* allocate(std::size_t size, std::size_t alignment) {
    if (is_out_of_memory()) throw std::bad_alloc();
    void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

/// How a run ended: with a result, or as the death of the worker.
enum class Ending { well, otherwise, death, endless };

struct JobStage {
    support::TemporaryDirectory archives{support::TemporaryDirectory::fast_base()};
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    api::WorkerOrder order;

    explicit JobStage(const std::string& original) {
        archives.write("a.vma.zst", original);
        order.job.id = 1;
        order.job.path = archives / "a.vma.zst";
        order.job.announced = true;
        order.state_dir = order.spill_dir = state.path();
        order.memory_bytes = 0;
        order.threads = 2;
        ::mkdir((state / "locks").c_str(), 0700);
    }

    /// In a process of its own, as a worker is. With `number` an allocation fails.
    Ending run(std::int64_t number = 0, bool for_good = false) {
        order.job.recovery = state.has("record") ? state.read("record") : "";
        const pid_t child = ::fork();
        if (child == 0) ::_exit(static_cast<int>(run_here(number, for_good)));
        int status = 0;
        if (child < 0 || ::waitpid(child, &status, 0) != child) throw std::runtime_error("no child");
        if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGALRM ? Ending::endless : Ending::death;
        return static_cast<Ending>(WEXITSTATUS(status));
    }

    Ending run_here(std::int64_t number, bool for_good) {
        constexpr unsigned kEndlessSeconds = 60;
        ::alarm(kEndlessSeconds);
        for (const int signal : {SIGABRT, SIGSEGV}) ::signal(signal, SIG_DFL);  // not doctest's
        if (number != 0) ::close(STDERR_FILENO);                                // what terminate() says
        io::FileSystem fs;
        const base::CancelFlag cancel;
        const worker::JobReports reports{
            [this](const api::WorkerRecord& record) { state.write("record", record.recovery); },
            [](const api::JobProgress&) {}};
        allocations = 0;
        stays = for_good;
        first_failure = number;
        std::optional<api::WorkerResult> result;
        try {
            result = worker::run_job(fs, order, cancel, reports);
        } catch (const std::bad_alloc&) {
        }
        first_failure = 0;
        if (number == 0) state.write("allocations", std::to_string(allocations));
        if (!result) return Ending::death;
        if (result->cleaned_up) ::unlink((state / "record").c_str());
        const bool is_well = result->state == JobState::done || result->state == JobState::unchanged;
        return is_well ? Ending::well : Ending::otherwise;
    }
};

/// Every allocation of `action` fails.
template <typename Action>
void without_memory(Action action) {
    allocations = 0;
    stays = true;
    first_failure = 1;
    action();
    first_failure = 0;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

TEST_CASE("a queue is aborted without memory") {
    base::BoundedQueue<int> queue(1);
    REQUIRE(queue.push(1));
    without_memory([&] { queue.abort(); });
    CHECK_FALSE(queue.pop());
}

TEST_CASE("a buffer is given back without memory") {
    base::BufferPool pool(4096, 1024, 1 << 20);
    auto buffer = pool.get(4096);
    without_memory([&] { buffer.reset(); });
    CHECK(pool.get(4096));
}

TEST_CASE("law: whichever allocation fails, the archive is whole and the next run does the work") {
    const auto guest = testing::plausible_guest({{"drive-scsi0", 3 << 20, {}}});
    const auto bytes =
        testing::stored_as(codec::ArchiveFormat::zstd, testing::dump(guest, {.shuffle = true}));
    const std::string original(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    JobStage healthy(original);
    REQUIRE(healthy.run() == Ending::well);
    const auto count = std::stoll(healthy.state.read("allocations"));
    const auto expected = healthy.archives.read("a.vma.zst");

    constexpr std::int64_t kSampled = 100;
    const char* wanted = std::getenv("VMAD_FAULTS");
    const bool all = wanted != nullptr && std::string(wanted) == "all";
    const auto step = all ? 1 : std::max<std::int64_t>(1, 2 * count / kSampled);
    std::map<Ending, unsigned> endings;
    for (const bool for_good : {false, true})
        for (std::int64_t n = for_good ? 1 : 1 + step / 2; n <= count; n += step) {
            CAPTURE(n);
            CAPTURE(for_good);
            JobStage stage(original);
            const auto ending = stage.run(n, for_good);
            const auto now = stage.archives.read("a.vma.zst");
            CHECK(ending != Ending::endless);
            CHECK((now == original || now == expected));
            if (ending == Ending::well) CHECK(now == expected);
            CHECK(stage.run() == Ending::well);
            CHECK(stage.archives.read("a.vma.zst") == expected);
            CHECK(stage.archives.names().size() == 1);
            ++endings[ending];
        }
    MESSAGE("of " << 2 * count << " failing allocations " << endings[Ending::well] << " went unnoticed, "
                  << endings[Ending::otherwise] << " ended with a result, " << endings[Ending::death]
                  << " with the worker");
}
