// Module netdiffus._capture: what netdiffus/capture/ reads captures with. It stands apart from _C,
// so that reading captures needs neither torch nor OpenMP.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "reader.h"

namespace py = pybind11;
using namespace netdiffus::capture;

namespace {

// The vector's own memory, kept by the array.
template <class T>
py::array_t<T> array(std::vector<T>&& values) {
  auto kept = std::make_unique<std::vector<T>>(std::move(values));
  const auto size = static_cast<py::ssize_t>(kept->size());
  T* data = kept->data();
  py::capsule owner(kept.release(), [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return py::array_t<T>(size, data, owner);
}

// Where each text ends, from 0 on, and their characters.
py::tuple texts(Texts&& values) {
  return py::make_tuple(array(std::move(values.ends)), py::bytes(values.characters));
}

py::dict take(Reader& reader, size_t points) {
  Batch batch;
  {
    py::gil_scoped_release release;
    batch = reader.take(points);
  }
  py::dict columns;
  columns["offsets"] = array(std::move(batch.offsets));
  columns["packet_length"] = array(std::move(batch.sizes));
  columns["direction"] = array(std::move(batch.directions));
  columns["tcp_flags"] = array(std::move(batch.flags));
  columns["ttl"] = array(std::move(batch.ttls));
  columns["tcp_window"] = array(std::move(batch.windows));
  columns["time"] = array(std::move(batch.times));
  columns["value"] = array(std::move(batch.down));
  columns["value_up"] = array(std::move(batch.up));
  columns["start"] = array(std::move(batch.start));
  columns["duration"] = array(std::move(batch.duration));
  columns["packets"] = array(std::move(batch.packets));
  columns["bytes_up"] = array(std::move(batch.bytes_up));
  columns["bytes_down"] = array(std::move(batch.bytes_down));
  columns["client"] = texts(std::move(batch.client));
  columns["client_port"] = array(std::move(batch.client_port));
  columns["server"] = texts(std::move(batch.server));
  columns["server_port"] = array(std::move(batch.server_port));
  columns["protocol"] = array(std::move(batch.protocol));
  columns["synthetic"] = array(std::move(batch.synthetic));
  return columns;
}

void feed(Reader& reader, const py::buffer& data) {
  const py::buffer_info info = data.request();
  const auto size = static_cast<size_t>(info.size * info.itemsize);
  py::gil_scoped_release release;
  reader.feed({static_cast<const uint8_t*>(info.ptr), size});
}

bool finish(Reader& reader, size_t packets) {
  py::gil_scoped_release release;
  return reader.finish(packets);
}

std::map<std::string, uint64_t> dropped(const Reader& reader) {
  std::map<std::string, uint64_t> reasons;
  for (const auto& [verdict, packets] : reader.dropped()) reasons[describe(verdict)] += packets;
  return reasons;
}

Network network(const std::pair<py::bytes, int>& host) {
  const auto prefix = static_cast<std::string_view>(host.first);
  Network network = {{}, host.second};
  if (prefix.size() != network.prefix.size() || host.second < 0 || host.second > 128)
    throw py::value_error("hosts: 16 bytes of address and 0 to 128 bits are wanted");
  std::copy(prefix.begin(), prefix.end(), network.prefix.begin());
  return network;
}

std::unique_ptr<Reader> reader(int size, bool tunnels, bool dedup, int per, int client,
                               int64_t packets, int64_t bin_ns, int64_t bins, int64_t idle_ns,
                               int64_t active_ns,
                               const std::vector<std::pair<py::bytes, int>>& hosts, bool headers,
                               std::optional<int> sort_in) {
  Rules rules = {static_cast<Per>(per),
                 static_cast<Client>(client),
                 packets,
                 bin_ns,
                 bins,
                 idle_ns,
                 active_ns,
                 {},
                 headers};
  for (const auto& host : hosts) rules.hosts.push_back(network(host));
  const Reading reading = {static_cast<Size>(size), tunnels, dedup};
  if (sort_in) return std::make_unique<Reader>(reading, rules, Sorter(*sort_in, Reader::kRun));
  return std::make_unique<Reader>(reading, rules);
}

}  // namespace

PYBIND11_MODULE(_capture, module) {
  py::register_local_exception_translator([](std::exception_ptr error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::system_error& failed) {
      errno = failed.code().value();
      PyErr_SetFromErrnoWithFilename(PyExc_OSError, "temporary file of a capture to be sorted");
    }
  });
  py::class_<Reader>(module, "Reader")
      .def(py::init(&reader), py::kw_only(), py::arg("size"), py::arg("tunnels"), py::arg("dedup"),
           py::arg("per"), py::arg("client"), py::arg("packets"), py::arg("bin_ns"),
           py::arg("bins"), py::arg("idle_ns"), py::arg("active_ns"), py::arg("hosts"),
           py::arg("headers"), py::arg("sort_in"))
      .def("feed", &feed, py::arg("data"))
      .def("next_file", &Reader::next_file)
      .def("finish", &finish, py::arg("packets"))
      .def("take", &take, py::arg("points"))
      .def_property_readonly("problem", &Reader::problem)
      .def_property_readonly("problem_at", &Reader::problem_at)
      .def_property_readonly("damages", &Reader::damages)
      .def_property_readonly("lost", &Reader::lost)
      .def_property_readonly("packets_before", &Reader::packets_before)
      .def_property_readonly("files", &Reader::files)
      .def_property_readonly("started", &Reader::started)
      .def_property_readonly("packets", &Reader::packets)
      .def_property_readonly("unsorted", &Reader::unsorted)
      .def_property_readonly("reordered", &Reader::reordered)
      .def_property_readonly("beyond", &Reader::beyond)
      .def_property_readonly("untimed", &Reader::untimed)
      .def_property_readonly("fragments", &Reader::fragments)
      .def_property_readonly("shortened", &Reader::shortened)
      .def_property_readonly("without_flags", &Reader::without_flags)
      .def_property_readonly("in_tunnels", &Reader::in_tunnels)
      .def_property_readonly("bare", &Reader::bare)
      .def_property_readonly("duplicates", &Reader::duplicates)
      .def_property_readonly("large", &Reader::large)
      .def_property_readonly("largest", &Reader::largest)
      .def_property_readonly("reused", &Reader::reused)
      .def_property_readonly("turned", &Reader::turned)
      .def_property_readonly("to_turn", &Reader::to_turn)
      .def_property_readonly("dropped", &dropped);
}
