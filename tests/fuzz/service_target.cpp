// Law: whatever clients send and when they go, the daemon comes to rest, answers in messages that are replies
// and no more often than it was called, and still answers a new client. The jobs that it tells of then are
// those that it knows after its next start.
#include <sys/socket.h>

#include <ctime>

#include <spdlog/spdlog.h>

#include "api/queue_calls.hpp"
#include "daemon/queue_service.hpp"
#include "fuzz_target.hpp"
#include "queue/queue.hpp"
#include "support/temporary_directory.hpp"
#include "varlink/framing.hpp"
#include "varlink/unix_socket.hpp"

namespace vmad::fuzz {
namespace {

using nlohmann::json;

constexpr std::size_t kClients = 3;
constexpr const char* kMethods[] = {"Enqueue", "List",   "Show",    "Status", "Wait",     "Monitor",
                                    "Cancel",  "Retry",  "Pause",   "Resume", "Archives", "Guests",
                                    "Forget",  "Reload", "Nothing", "GetInfo"};
constexpr const char* kPaths[] = {"/mnt/a.vma", "/mnt/vzdump-qemu-100-2026_01_02-03_04_05.vma.zst",
                                  "/mnt//b/../a.vma", "relative"};

std::string call_of(Input& input) {
    const std::string method = kMethods[input.below(std::size(kMethods))];
    const std::string interface = method == "GetInfo" ? "org.varlink.service." : "org.vmad.Queue.";
    json parameters = json::object();
    const auto bits = input.take();
    const std::string path = kPaths[input.below(std::size(kPaths))];
    const auto id = input.below(4);
    if ((bits & 1) != 0) parameters["path"] = path;
    if ((bits & 2) != 0) parameters["id"] = id;
    if ((bits & 4) != 0) parameters["paths"] = json::array({path});
    if ((bits & 8) != 0) parameters["ids"] = json::array({id});
    if ((bits & 16) != 0) parameters["kind"] = "verify";
    json call{{"method", interface + method}, {"parameters", parameters}};
    if ((bits & 32) != 0) call["more"] = true;
    if ((bits & 64) != 0) call["oneway"] = true;
    return varlink::frame_message(call);
}

class Client {
  public:
    explicit Client(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const auto address = varlink::socket_address(path);
        require(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0,
                "the daemon listens");
    }
    [[nodiscard]] bool is_connected() const { return static_cast<bool>(socket_); }
    void close() { socket_.reset(); }
    void end_sending() const { (void)::shutdown(socket_.get(), SHUT_WR); }
    /// As much as there is room for.
    void send(std::string_view bytes) {
        const auto count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0) called_ += std::count(bytes.begin(), bytes.begin() + count, '\0');
    }
    /// What has come. Closes where the daemon has.
    std::vector<varlink::Reply> replies() {
        std::vector<varlink::Reply> result;
        std::string bytes(65536, '\0');
        ssize_t count = 0;
        while ((count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0) {
            in_.add({bytes.data(), static_cast<std::size_t>(count)});
            while (const auto message = in_.next())
                result.push_back(varlink::parse_message(*message).get<varlink::Reply>());
        }
        if (count == 0) close();
        for (const auto& reply : result) answered_ += reply.continues ? 0 : 1;
        require(answered_ <= called_, "each call has one answer at most");
        return result;
    }

  private:
    base::UniqueFd socket_;
    varlink::MessageSplitter in_;
    long called_ = 0;
    long answered_ = 0;
};

class Daemon {
  public:
    explicit Daemon(const support::TemporaryDirectory& directory)
        : socket_(directory / "socket"),
          spool_(fs_, directory / "state"),
          service_(
              event_.get(), fs_, settings(),
              [] {
                  return settings::LoadedSettings{settings(), {}};
              },
              spool_, varlink::listen_at(socket_, 0600)) {}

    [[nodiscard]] const std::string& socket() const { return socket_; }
    void rest() {
        for (int turns = 0; sd_event_run(event_.get(), 0) > 0; ++turns)
            require(turns < 100'000, "the daemon comes to rest");
    }

  private:
    /// No job starts, or it would be run by this program.
    static settings::Settings settings() {
        settings::Settings settings;
        settings.workers = 0;
        return settings;
    }

    std::string socket_;
    io::FileSystem fs_;
    queue::Spool spool_;
    varlink::Event event_ = varlink::make_event();
    daemon::QueueService service_;
};

void act(Client& client, Input& input) {
    switch (input.below(8)) {
        case 0:
            return client.close();
        case 1:
            return client.end_sending();
        case 2:
            return client.send(text_of(input.bytes(input.take())));
        case 3: {
            auto call = call_of(input);
            call[input.below(call.size())] = static_cast<char>(input.take());
            return client.send(call);
        }
        default:
            client.send(call_of(input));
    }
}

/// By id.
std::map<std::uint64_t, json> listed_jobs(Daemon& daemon) {
    Client client(daemon.socket());
    client.send(varlink::frame_message({{"method", "org.vmad.Queue.List"}, {"more", true}}));
    daemon.rest();
    const auto replies = client.replies();
    require(!replies.empty() && !replies.back().continues, "a new client is answered");
    std::map<std::uint64_t, json> jobs;
    for (const auto& reply : replies) {
        require(reply.error.empty(), "jobs can be listed");
        if (reply.parameters.contains("job")) jobs[reply.parameters["job"]["id"]] = reply.parameters["job"];
    }
    return jobs;
}

void write_state(const support::TemporaryDirectory& directory) {
    io::FileSystem fs;
    queue::Spool spool(fs, directory / "state");
    api::Job job;
    job.id = 1;
    job.path = kPaths[1];
    job.state = api::JobState::failed;
    job.ended_at = std::time(nullptr);
    job.end_number = 1;
    spool.save(job);
    queue::Catalogue(fs, spool.archives_directory()).put({.path = kPaths[0], .vmid = 100, .fault = "f"});
}

void run(View bytes) {
    spdlog::set_level(spdlog::level::off);
    const support::TemporaryDirectory directory(scratch());
    write_state(directory);
    auto daemon = std::make_unique<Daemon>(directory);
    std::optional<Client> clients[kClients];
    for (Input input(bytes); !input.empty();) {
        auto& client = clients[input.below(kClients)];
        if (!client || !client->is_connected()) client.emplace(daemon->socket());
        act(*client, input);
        daemon->rest();
        if (client->is_connected()) (void)client->replies();
    }
    const auto told = listed_jobs(*daemon);
    daemon.reset();
    io::FileSystem fs;
    queue::Spool spool(fs, directory / "state");
    const queue::Queue queue(spool, std::time(nullptr));
    require(queue.bad_files().empty(), "what the daemon writes it can read");
    require(queue.jobs().size() == told.size(), "as many jobs are known after the next start");
    for (const auto& [id, job] : queue.jobs()) require(told.at(id) == json(job), "and they are the same");
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    // Of each method one call, by itself and behind another of the same client.
    for (unsigned method = 0; method < std::size(kMethods); ++method)
        for (const unsigned bits : {0, 1, 2, 17, 36, 40, 65}) {
            const auto call = [&](unsigned client, unsigned what, unsigned with) {
                return Bytes{std::byte(client), std::byte{4}, std::byte(what),
                             std::byte(with),   std::byte{1}, std::byte{1}};
            };
            auto seed = call(0, 0, 1);
            const auto other = call(bits % kClients, method, bits);
            append(seed, other);
            result.push_back(std::move(seed));
        }
    return result;
}

const Registration registration({"service", 4, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
