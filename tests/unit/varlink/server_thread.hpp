// A server with a test interface on a real socket, in a thread of its own; and a client that speaks bytes.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "varlink/client.hpp"
#include "varlink/server.hpp"
#include "varlink/unix_socket.hpp"

/// Long enough for any machine; only a hang lasts as long.
inline constexpr std::chrono::milliseconds kPatience = std::chrono::seconds(60);

class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string name = std::filesystem::temp_directory_path() / "vmad-varlink-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        path_ = name;
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
    [[nodiscard]] std::string entry(const char* name) const { return path_ / name; }

  private:
    std::filesystem::path path_;
};

class ServerThread {
  public:
    explicit ServerThread(vmad::varlink::ServerOptions options = {}) : wake_(::eventfd(0, EFD_CLOEXEC)) {
        std::promise<void> ready;
        thread_ = std::thread([&, this] { serve(std::move(options), ready); });
        ready.get_future().get();
    }
    ServerThread(const ServerThread&) = delete;
    ServerThread& operator=(const ServerThread&) = delete;
    ~ServerThread() {
        run([this] { sd_event_exit(event_, 0); });
        thread_.join();
    }

    [[nodiscard]] std::string socket() const { return directory_.entry("socket"); }
    [[nodiscard]] vmad::varlink::Client client() const { return {socket(), kPatience}; }

    /// Runs `task` in the thread of the loop, and waits for it.
    void run(const std::function<void()>& task) {
        std::packaged_task<void()> packaged(task);
        auto done = packaged.get_future();
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(packaged));
        }
        const std::uint64_t one = 1;
        if (::write(wake_.get(), &one, sizeof one) != sizeof one) throw std::runtime_error("write");
        done.get();
    }

    /// Waits until `condition`, asked in the thread of the loop, holds; false when it never does.
    [[nodiscard]] bool becomes(const std::function<bool()>& condition) {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (std::chrono::steady_clock::now() < end) {
            bool holds = false;
            run([&] { holds = condition(); });
            if (holds) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return false;
    }
    [[nodiscard]] bool has_clients(std::size_t count) {
        return becomes([&] { return server_->client_count() == count; });
    }

    // State of the test interface, for the thread of the loop.
    std::vector<vmad::varlink::Request> held;
    int noted = 0;
    int gone = 0;
    int portions = 0;  ///< of all streams
    int streams = 0;   ///< that have not ended
    std::vector<std::string> recorded;

  private:
    using json = nlohmann::json;
    using Request = vmad::varlink::Request;

    /// Replies {"number": 1} to {"number": count} in portions of 100.
    struct Stream {
        Stream(ServerThread& of, Request to) : server(of), request(std::move(to)) { ++server.streams; }
        Stream(const Stream&) = delete;
        Stream& operator=(const Stream&) = delete;
        ~Stream() { --server.streams; }

        ServerThread& server;
        Request request;
        int next = 1;
    };
    static void send_portion(const std::shared_ptr<Stream>& stream) {
        ++stream->server.portions;
        const int count = stream->request.parameters().at("count").get<int>();
        for (int i = 0; i < 100; ++i, ++stream->next) {
            if (stream->next == count) return stream->request.reply({{"number", count}});
            stream->request.reply_continues({{"number", stream->next}});
        }
        stream->request.when_drained([stream] { send_portion(stream); });
    }

    void serve(vmad::varlink::ServerOptions options, std::promise<void>& ready) {
        const auto event = vmad::varlink::make_event();
        event_ = event.get();
        sd_event_source* source = nullptr;
        vmad::varlink::check_event(sd_event_add_io(event_, &source, wake_.get(), POLLIN, on_wake, this),
                                   "sd_event_add_io");
        const vmad::varlink::EventSource wake(source);
        vmad::varlink::Server server(event_, vmad::varlink::listen_at(socket(), 0600), std::move(options));
        server.add({"org.test", "interface org.test\n", methods()});
        server_ = &server;
        ready.set_value();
        vmad::varlink::check_event(sd_event_loop(event_), "sd_event_loop");
    }

    static int on_wake(sd_event_source*, int fd, std::uint32_t, void* self) noexcept {
        std::uint64_t count = 0;
        if (::read(fd, &count, sizeof count) != sizeof count) std::abort();
        auto& thread = *static_cast<ServerThread*>(self);
        std::vector<std::packaged_task<void()>> tasks;
        {
            const std::lock_guard lock(thread.mutex_);
            tasks.swap(thread.tasks_);
        }
        for (auto& task : tasks) task();
        return 0;
    }

    [[nodiscard]] std::map<std::string, vmad::varlink::Handler> methods() {
        return {
            {"Echo", [](Request& request) { request.reply(request.parameters()); }},
            {"Count",
             [](Request& request) {
                 request.require_more();
                 const int count = request.parameters().at("count").get<int>();
                 for (int i = 1; i < count; ++i) request.reply_continues({{"number", i}});
                 request.reply({{"number", count}});
             }},
            {"Big",
             [](Request& request) {
                 request.reply(
                     {{"text", std::string(request.parameters().at("size").get<std::size_t>(), 'x')}});
             }},
            {"Later",
             [this](Request& request) {
                 request.when_gone([this] { ++gone; });
                 held.push_back(std::move(request));
             }},
            {"Note", [this](Request& request) { ++noted, request.reply(); }},
            {"Stream",
             [this](Request& request) {
                 request.require_more();
                 send_portion(std::make_shared<Stream>(*this, std::move(request)));
             }},
            {"Record",
             [this](Request& request) {
                 recorded.push_back(request.parameters().at("name").get<std::string>());
                 request.reply();
             }},
            {"Drop", [](Request&) {}},
            {"Refuse",
             [](Request&) {
                 throw vmad::varlink::RemoteError("org.test.Refused", {{"why", "so"}});
             }},
            {"Fail", [](Request&) { throw std::runtime_error("it broke"); }},
            {"FailOddly", [](Request&) { throw 7; }},
            {"KeepAndFail",
             [this](Request& request) {
                 held.push_back(std::move(request));
                 throw std::runtime_error("too late");
             }},
            {"SeveralToOne", [](Request& request) { request.reply_continues({}); }},
            {"Undone", nullptr},
        };
    }

    TemporaryDirectory directory_;
    vmad::base::UniqueFd wake_;
    std::mutex mutex_;
    std::vector<std::packaged_task<void()>> tasks_;
    sd_event* event_ = nullptr;
    vmad::varlink::Server* server_ = nullptr;
    std::thread thread_;
};

class RawClient {
  public:
    explicit RawClient(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const sockaddr_un address = vmad::varlink::socket_address(path);
        if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
            throw std::runtime_error("connect");
    }
    [[nodiscard]] int fd() const { return socket_.get(); }
    void close() { socket_.reset(); }
    void end_sending() { ::shutdown(socket_.get(), SHUT_WR); }

    /// Sends as much as the server takes before it closes.
    void send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count <= 0) return;
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    void call(const nlohmann::json& message) { send(vmad::varlink::frame_message(message)); }

    /// The next message; "" when the server closed.
    [[nodiscard]] std::string message() {
        while (true) {
            if (auto message = in_.next()) return *message;
            const std::string bytes = some();
            if (bytes.empty()) return "";
            in_.add(bytes);
        }
    }
    [[nodiscard]] bool closed_by_server() { return message().empty(); }

  private:
    [[nodiscard]] std::string some() {
        pollfd fd{socket_.get(), POLLIN, 0};
        if (::poll(&fd, 1, static_cast<int>(kPatience.count())) != 1) throw std::runtime_error("no answer");
        std::string bytes(65536, '\0');
        const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
        bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
        return bytes;
    }

    vmad::base::UniqueFd socket_;
    vmad::varlink::MessageSplitter in_;
};
